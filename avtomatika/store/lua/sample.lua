-- Stores a sample of the queues of tasks for the current minute.
--
-- KEYS: prefix of the statistics.    ARGV: running tasks, waiting tasks, seconds that the first of them has waited.

local now = redis.call('TIME')[1] * 1000
for index, value in ipairs(ARGV) do
  local key, place = position(KEYS[1], 3 + index, now)
  redis.call('BITFIELD', key, 'SET', 'u32', place, value + 1)
  redis.call('EXPIRE', key, STATISTICS_SECONDS)
end
