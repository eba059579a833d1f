-- Records that a worker is to take no new tasks; keeps who asked first, and deletes wishes that are too old.
--
-- KEYS: drained workers.    ARGV: worker, who asks, seconds that a wish is kept.

expect('hash', KEYS[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local wishes = redis.call('HGETALL', KEYS[1])
for index = 1, #wishes, 2 do
  local since = tonumber(string.match(wishes[index + 1], '^%d+') or '0')
  if now - since > ARGV[3] * 1000 then redis.call('HDEL', KEYS[1], wishes[index]) end
end
redis.call('HSETNX', KEYS[1], ARGV[1], string.format('%.0f %s', now, ARGV[2]))
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
