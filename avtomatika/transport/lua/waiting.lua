-- Shared: reads new messages of queues in turns (trait 'w') and orders them by fairness key, limits, and age with priority.

local left = {messages = 1000, bytes = 1048576, stops = 200}  -- of one call, so that it does not block the server for long
local aging = tonumber(ARGV[5])

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
    local ms, seq = string.match(origin or '', '^(%d+)%-(%d+)$')
    if not ms then ms, seq = string.match(entry[1], '^(%d+)%-(%d+)$') end
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
    rows[#rows + 1] = table.concat({key, limits, place, level, entry[1], string.match(names or '', '[^%s%z\1]*$')}, '\0')
    left.messages, left.bytes = left.messages - 1, left.bytes - #(payload or '')
  end
  expect('hash', room.base .. 'held')
  release(room.base .. level, ids)  -- of messages that were leased when the consumer group was lost
  start_groups(room.base, order)  -- first: a group that waits and has no turn would never have one
  redis.call('ZADD', room.base .. 'waiting', unpack(rows))
end

-- Reads the new messages of *room*; returns false if some are left.
local function read_new(room)
  for _, level in ipairs(room.levels) do
    local stream, count = room.base .. level, 16
    local is_done = lengths[stream] == 0
    while not is_done do
      if left.messages <= 0 or left.bytes <= 0 then return false end
      local entries = read(stream, count, false)
      local is_added, problem = true, nil
      if entries[1] then is_added, problem = pcall(add_waiting, room, level, entries) end
      if not is_added then  -- read them again
        redis.call('XGROUP', 'SETID', stream, 'avt', id_before(entries[1][1]))
        error({err = problem})
      end
      is_done = #entries < count
      count = math.max(math.min(100, math.floor(count * left.bytes / (1048576 - left.bytes))), 1)
    end
  end
  return true
end
