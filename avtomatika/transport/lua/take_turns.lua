-- Before a message with a fairness key is published: sets the trait 'w' (in turns) of a fair queue with a second key, or with a message
-- that has values of limits.
--
-- KEYS: queues, bell, limits.    ARGV: queue, fairness key, 1 if the message has values of limits, 0 if not.
-- Returns 0 if the queue does not exist, 1 if another key needs this call again, 2 if no message does.

local traits = redis.call('HGET', KEYS[1], ARGV[1])
if not traits then return 0 end
if string.find(traits, 'w', 1, true) then return 2 end
if not string.find(traits, 'x', 1, true) then return 1 end
local first = redis.call('HGET', KEYS[3], ARGV[1] .. '\tkey')
if ARGV[3] == '0' and first == ARGV[2] then return 1 end
expect('stream', KEYS[2])
if ARGV[3] == '0' and not first then
  redis.call('HSET', KEYS[3], ARGV[1] .. '\tkey', ARGV[2])
  return 1
end
redis.call('HSET', KEYS[1], ARGV[1], traits .. 'w')
redis.call('XADD', KEYS[2], 'MAXLEN', 1, '*', 'trait', ARGV[1])
return 2
