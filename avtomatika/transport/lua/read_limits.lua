-- Returns for each limit {name, its values (JSON) or '', number running, number of waiting messages that it stops}.
--
-- KEYS: queues, limits of flow control.    ARGV: limits; without any, all that are set.

local prefix = string.sub(KEYS[1], 1, -7)
local names = #ARGV > 0 and ARGV or redis.call('HKEYS', KEYS[2])

local function waiting(limit)
  local number = 0
  for _, member in ipairs(members(prefix .. 'flow:stopped', limit)) do
    local queue = string.sub(member, #limit + 2)
    local base = prefix .. 'q:' .. queue .. ':'
    if limit == 'skill:' .. queue then number = number + redis.call('ZCARD', base .. 'waiting') end
    for _, group in ipairs(members(base .. 'stopped', limit, 1000)) do
      local name = string.match(group, '^[^%z]*%z[^%z]*%z(.*)$')
      number = number + redis.call('ZLEXCOUNT', base .. 'waiting', '[' .. name .. '\0', '(' .. name .. '\1')
    end
  end
  return number
end

local found = {}
for index, name in ipairs(names) do
  local running = redis.call('ZLEXCOUNT', prefix .. 'flow:holders', '[' .. name .. '\0', '(' .. name .. '\1')
  found[index] = {name, redis.call('HGET', KEYS[2], name) or '', running, waiting(name)}
end
return found
