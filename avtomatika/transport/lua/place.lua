-- Finds a waiting message of a queue in turns by its holder, and counts the messages that are taken before it.
--
-- KEYS: queues.    ARGV: queue, holder (the last word of the message's groups), maximum number of messages to inspect.
-- Returns {'ABSENT'} | {'WAITS', number of messages before it, limit that stops it or '', its own values (JSON)}.

local prefix, suffix, found = string.sub(KEYS[1], 1, -7), '\0' .. ARGV[2], nil
local base = prefix .. 'q:' .. ARGV[1] .. ':'
for first = 0, ARGV[3] - 1, 1000 do
  local page = redis.call('ZRANGE', base .. 'waiting', first, first + 999)
  for _, member in ipairs(page) do
    if string.sub(member, -#suffix) == suffix then found = member end
  end
  if found or #page < 1000 then break end
end
if not found then return {'ABSENT'} end
local key, limits, order = string.match(found, '^([^%z]*)%z([^%z]*)%z([^%z]*)')

local function count(name, from, to)
  return redis.call('ZLEXCOUNT', base .. 'waiting', '[' .. name .. '\0' .. (from or ''), '(' .. name .. (to or '\1'))
end

local function weight_of(name)
  return tonumber(redis.call('HGET', prefix .. 'flow:weights', name) or 1)
end

-- Counts the turns before turn *mine* of our key, whose turns begin at *start*; *others* are {key, start, number of messages}.
local function ahead(start, mine, others)
  local number, at = mine, start + mine / weight_of(key)
  for _, other in ipairs(others) do
    local turns = (at - other[2]) * weight_of(other[1])
    local before = math.ceil(turns)
    if before == turns and other[1] < key then before = before + 1 end
    number = number + math.max(math.min(before, other[3]), 0)
  end
  return number
end

-- Returns the number of messages before ours if *limit* stops its group, or nil.
local function stopped_by(limit)
  local own, others = nil, {}
  for _, member in ipairs(members(base .. 'stopped', limit, 1000)) do
    local start, name, wanted = string.match(member, '^[^%z]*%z([^%z]*)%z([^%z]*)%z(.*)$')
    if name == key and wanted == limits then
      own = tonumber(start)
    else
      others[#others + 1] = {name, tonumber(start), count(name .. '\0' .. wanted)}
    end
  end
  return own and ahead(own, count(key .. '\0' .. limits, nil, '\0' .. order), others)
end

for _, limit in ipairs(limits ~= '' and cjson.decode(limits) or {}) do
  local name = type(limit) == 'table' and limit[1] or limit
  local before = stopped_by(name)
  if before then return {'WAITS', before, name, type(limit) == 'table' and cjson.encode(limit[2]) or '{}'} end
end
local mine, others = 0, {}
for _, member in ipairs(members(base .. 'ready', key, 100)) do
  local name = key .. '\0' .. string.match(member, '^[^%z]*%z[^%z]*%z(.*)$')
  mine = mine + count(name, nil, '\0' .. order)
end
local turns = redis.call('ZRANGE', base .. 'turns', 0, 999, 'WITHSCORES')
for index = 1, #turns, 2 do
  if turns[index] ~= key then others[#others + 1] = {turns[index], tonumber(turns[index + 1]), count(turns[index])} end
end
local all = 'skill:' .. ARGV[1]
local is_stopped = redis.call('ZSCORE', prefix .. 'flow:stopped', all .. '\0' .. ARGV[1])
return {'WAITS', ahead(tonumber(redis.call('ZSCORE', base .. 'turns', key) or 0), mine, others), is_stopped and all or '', '{}'}
