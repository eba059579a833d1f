-- Moves due timers into the queue of due timers: each exactly once, since sending and removal are atomic.
--
-- KEYS: timers, timer messages, stream of the queue.    ARGV: maximum number.    Returns the number moved.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local names = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[1])
for _, name in ipairs(names) do
  local message = redis.call('HGET', KEYS[2], name)
  if message then redis.call('XADD', KEYS[3], '*', 'p', message) end
  redis.call('ZREM', KEYS[1], name)
  redis.call('HDEL', KEYS[2], name)
end
return #names
