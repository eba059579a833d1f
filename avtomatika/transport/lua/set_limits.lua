-- Sets the time to live of a queue's messages and the expiry of the queue, and whether it is fair ('x'). A fair queue is taken in turns
-- ('w') if it has two priorities, or if limits of flow control are set.
--
-- KEYS: queues, bell, limits, expiring, limits of flow control.
-- ARGV: queue, time to live of its messages (ms) or '', how long it may stay unused (ms) or '', 1 if that counts from now, 0 if
--       from its first use; 1 if it expires only while it is empty; 1 if it is fair.
-- Returns 1, or 0 if the queue does not exist.

local traits = redis.call('HGET', KEYS[1], ARGV[1])
if not traits then return 0 end

expect('hash', KEYS[3])
expect('zset', KEYS[4])
expect('stream', KEYS[2])
local known = traits
for index, limit in ipairs({{'t', 'ttl'}, {'e', 'expires'}}) do
  local value = ARGV[1 + index]
  if value ~= '' then
    redis.call('HSET', KEYS[3], ARGV[1] .. '\t' .. limit[2], value)
    if not string.find(traits, limit[1], 1, true) then traits = traits .. limit[1] end
  end
end
if ARGV[5] == '1' then
  redis.call('HSET', KEYS[3], ARGV[1] .. '\tempty', '1')
elseif ARGV[3] ~= '' then
  redis.call('HDEL', KEYS[3], ARGV[1] .. '\tempty')
end
if ARGV[6] == '1' and not string.find(traits, 'x', 1, true) then
  traits = traits .. 'x'
  if string.find(traits, '%d.*%d') or redis.call('EXISTS', KEYS[5]) == 1 then traits = traits .. 'w' end
end
if ARGV[4] == '1' and ARGV[3] ~= '' then
  local clock = redis.call('TIME')
  redis.call('ZADD', KEYS[4], string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000) + ARGV[3]), ARGV[1])
end
if traits ~= known then
  redis.call('HSET', KEYS[1], ARGV[1], traits)
  redis.call('XADD', KEYS[2], 'MAXLEN', 1, '*', 'trait', ARGV[1])
end
return 1
