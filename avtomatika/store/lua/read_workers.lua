-- Reads all workers, and forgets those that have not sent a heartbeat for long.
--
-- KEYS: workers, prefix of the keys of workers.    ARGV: age (ms) from which a worker is forgotten, fields to read.
-- Returns {time, worker, values of its fields, ...}.

local clock = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000) - ARGV[1]))
local found = {clock}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  found[#found + 1], found[#found + 2] = id, redis.call('HMGET', KEYS[2] .. id, unpack(ARGV, 2))
end
return found
