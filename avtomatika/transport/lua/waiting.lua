-- Shared: reads new messages of queues in turns (trait 'w') and orders them by fairness key, limits, and age with priority.

local left = {messages = 1000, bytes = 1048576, stops = 200}  -- of one call, so that it does not block the server for long
local aging, limits_cache = tonumber(ARGV[5]), {}

-- Parses limits, a JSON array of names and [name, values]; raises an error if the text is not one.
local function limits_of(text)
  local found = limits_cache[text]
  if found then return found end
  found = {}
  for _, limit in ipairs(text ~= '' and cjson.decode(text) or {}) do
    local name, own = limit, nil
    if type(limit) == 'table' then name, own = limit[1], limit[2] end
    if type(name) == 'string' then
      found[#found + 1] = {name = string.gsub(name, '[%z\1]', '?'), own = type(own) == 'table' and own or nil}
    end
  end
  limits_cache[text] = found
  return found
end

-- Returns fairness key and limits (JSON) of a payload's header.
local function flow_of(payload)
  local at, stop = string.find(payload, '"x-flow":', 1, true), string.find(payload, '\n', 1, true)
  if not at or stop and stop < at then return '', '' end
  local key, limits = string.match(payload, '^{"key":"([^"\\%z\1]*)","limits":(%b[])}', at + 9)
  if not key then key, limits = string.match(payload, '^{"key":"([^"\\%z\1]*)"()}', at + 9), '' end
  if key and pcall(limits_of, limits) then return key, limits end
  local is_json, line = pcall(cjson.decode, string.sub(payload, 1, (stop or 0) - 1))
  local flow = is_json and type(line) == 'table' and type(line.headers) == 'table' and line.headers['x-flow']
  if type(flow) ~= 'table' then return '', '' end
  key = string.gsub(tostring(flow.key or ''), '[%z\1]', '?')
  return key, type(flow.limits) == 'table' and cjson.encode(flow.limits) or ''
end

-- Lets *groups* take turns that are new, or whose first message has changed.
local function start_groups(base, groups)
  local keys, ready, turns = {}, {}, {}
  for _, group in ipairs(groups) do
    local is_new = not group.known
    if group.known and group.first < group.known then  -- it may be stopped
      is_new = redis.call('ZREM', base .. 'ready', group.key .. '\0' .. group.known .. '\0' .. group.limits) == 1
    end
    if is_new then
      keys[#keys + 1] = group.key
      ready[#ready + 1], ready[#ready + 2] = 0, group.key .. '\0' .. group.first .. '\0' .. group.limits
    end
  end
  if #keys == 0 then return end
  local start = virtual_time(base)
  redis.call('ZREMRANGEBYSCORE', base .. 'finish', '-inf', '(' .. start)  -- they no longer matter
  for index, finish in ipairs(redis.call('ZMSCORE', base .. 'finish', unpack(keys))) do
    turns[2 * index - 1] = finish and tonumber(finish) > tonumber(start) and finish or start
    turns[2 * index] = keys[index]
  end
  redis.call('ZADD', base .. 'ready', unpack(ready))
  redis.call('ZADD', base .. 'turns', 'NX', unpack(turns))
end

-- Adds *entries* of one priority to the waiting ones.
local function add_waiting(room, level, entries)
  local ids, rows, groups, order = {}, {}, {}, {}
  for index, entry in ipairs(entries) do
    local payload, names, _, _, origin = read_fields(entry[2])
    local key, limits = flow_of(payload or '')
    local ms, seq = string.match(origin or entry[1], '^(%d+)%-(%d+)$')
    local place = string.format('%014.0f%06.0f', math.max(ms - level * aging, 0), seq)
    local name = key .. '\0' .. limits
    local group = groups[name]
    if not group then
      local first = members(room.base .. 'waiting', name, 1)[1]
      group = {key = key, limits = limits, known = first and order_of(first), first = place}
      groups[name], order[#order + 1] = group, group
    elseif place < group.first then
      group.first = place
    end
    rows[#rows + 1], ids[index] = 0, entry[1]
    rows[#rows + 1] = table.concat({key, limits, place, level, entry[1], string.match(names or '', '%S*$')}, '\0')
    left.messages, left.bytes = left.messages - 1, left.bytes - #(payload or '')
  end
  release(room.base .. level, ids)  -- of messages that were leased when the consumer group was lost
  redis.call('ZADD', room.base .. 'waiting', unpack(rows))
  start_groups(room.base, order)
end

-- Reads the new messages of *room*; returns false if some are left.
local function read_new(room)
  for _, level in ipairs(room.levels) do
    local stream, count = room.base .. level, 16
    local is_done = (lengths[stream] or 0) == 0
    while not is_done do
      if left.messages <= 0 or left.bytes <= 0 then return false end
      local entries = read(stream, count, false)
      local is_added, problem = true, nil
      if entries[1] then is_added, problem = pcall(add_waiting, room, level, entries) end
      if not is_added then  -- read them again
        redis.call('XGROUP', 'SETID', stream, 'avt', id_before(entries[1][1]))
        error(problem)
      end
      is_done = #entries < count
      count = math.max(math.min(100, math.floor(count * left.bytes / (1048576 - left.bytes))), 1)
    end
  end
  return true
end
