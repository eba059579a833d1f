-- Records a heartbeat of a worker, with its status if it reports one.
--
-- KEYS: worker, workers.
-- ARGV: id, beat or '', seconds until the worker is deleted, 1 if it takes its tasks here, its cached files or ''.
-- Returns 0 for an unregistered worker.

expect('hash', KEYS[1])
expect('zset', KEYS[2])
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local clock = redis.call('TIME')
local now = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
redis.call('HSET', KEYS[1], 'at', now)
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'beat', ARGV[2], 'routed', '0') end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'holds', ARGV[5]) end
if ARGV[4] == '1' then redis.call('HSET', KEYS[1], 'served', now) end
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[2], now, ARGV[1])
return 1
