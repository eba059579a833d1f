-- Records that a queue uses a priority, has delays ('d') or reads a fanout exchange ('f'), and notifies its consumers. The second
-- priority of a fair queue ('x') also sets 'w': its messages are taken in turns.
--
-- KEYS: queues, bell.    ARGV: queue, trait.    Returns 1, or 0 if the queue does not exist.

local traits = redis.call('HGET', KEYS[1], ARGV[1])
if not traits then return 0 end
if not string.find(traits, ARGV[2], 1, true) then
  expect('stream', KEYS[2])
  traits = traits .. ARGV[2]
  if string.find(traits, 'x', 1, true) and not string.find(traits, 'w', 1, true) and string.find(traits, '%d.*%d') then
    traits = traits .. 'w'
  end
  redis.call('HSET', KEYS[1], ARGV[1], traits)
  redis.call('XADD', KEYS[2], 'MAXLEN', 1, '*', 'trait', ARGV[1])
end
return 1
