-- Notes that a queue has a level in use, delays ('d') or listens to a fanout exchange ('f'), so that its consumers look there.
--
-- KEYS: queues, bell.    ARGV: queue, trait.    Answers 1, or 0 where there is no such queue.

local traits = redis.call('HGET', KEYS[1], ARGV[1])
if not traits then return 0 end
if not string.find(traits, ARGV[2], 1, true) then
  expect('stream', KEYS[2])
  redis.call('HSET', KEYS[1], ARGV[1], traits .. ARGV[2])
  redis.call('XADD', KEYS[2], 'MAXLEN', 1, '*', 'trait', ARGV[1])
end
return 1
