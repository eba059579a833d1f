-- Returns for each limit {name, its values (JSON) or '', number running, number of waiting messages that it stops, values (JSON) in
-- such a message or '', number of those with this limit that another one stops}.
--
-- Values of a limit that only messages have are known while it stops one.
-- KEYS: queues, limits of flow control.    ARGV: limits; without any, all that are set, and up to 1000 that run or stop messages.

local prefix = string.sub(KEYS[1], 1, -7)
local names = #ARGV > 0 and ARGV or redis.call('HKEYS', KEYS[2])
local known, own, others = {}, {}, {}
for _, name in ipairs(names) do known[name] = 'set' end

-- Adds the limits that members of *key* start with, if their messages define them (others are those of every message).
local function add_names(key)
  local from, left = '-', 1000
  while left > 0 do
    local first = redis.call('ZRANGEBYLEX', key, from, '+', 'LIMIT', 0, 1)[1]
    if not first then return end
    local name = string.match(first, '^[^%z]*')
    if not known[name] and string.find(name, '^key:') then names[#names + 1], known[name] = name, true end
    if known[name] ~= 'set' then left = left - 1 end
    from = '(' .. name .. '\1'
  end
end

if #ARGV == 0 then
  add_names(prefix .. 'flow:holders')
  add_names(prefix .. 'flow:stopped')
end

local function waiting(limit)
  local number = 0
  for _, member in ipairs(members(prefix .. 'flow:stopped', limit)) do
    local queue = string.sub(member, #limit + 2)
    local base = prefix .. 'q:' .. queue .. ':'
    if limit == 'skill:' .. queue then number = number + redis.call('ZCARD', base .. 'waiting') end
    for _, group in ipairs(members(base .. 'stopped', limit, 1000)) do
      local name, limits = string.match(group, '^[^%z]*%z[^%z]*%z([^%z]*%z(.*))$')
      local count = redis.call('ZLEXCOUNT', base .. 'waiting', '[' .. name .. '\0', '(' .. name .. '\1')
      for _, each in ipairs(limits_of(limits)) do
        if each.name ~= limit then
          others[each.name] = (others[each.name] or 0) + count
        elseif each.own and not own[limit] then
          own[limit] = cjson.encode(each.own)
        end
      end
      number = number + count
    end
  end
  return number
end

local found = {}
for index, name in ipairs(names) do
  local running = redis.call('ZLEXCOUNT', prefix .. 'flow:holders', '[' .. name .. '\0', '(' .. name .. '\1')
  local stopped = waiting(name)
  found[index] = {name, redis.call('HGET', KEYS[2], name) or '', running, stopped, own[name] or ''}
end
for index, name in ipairs(names) do found[index][6] = others[name] or 0 end
return found
