-- Marks queues as used: they expire one lease plus their unused time from now.
--
-- KEYS: limits, expiring.    ARGV: lease (ms), queues.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for index = 2, #ARGV do
  local unused = redis.call('HGET', KEYS[1], ARGV[index] .. '\texpires')
  if unused then redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[1] + unused), ARGV[index]) end
end
return 'OK'
