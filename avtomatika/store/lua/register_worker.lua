-- Registers a worker. Replaces its previous record, except its turn and its reputation.
--
-- KEYS: worker, workers.    ARGV: id, record, seconds until it is deleted.

expect('zset', KEYS[2])
local clock = redis.call('TIME')
local now = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
local kept = redis.call('HMGET', KEYS[1], 'turn', 'reputation', 'judged')
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'record', ARGV[2], 'since', now, 'at', now, 'turn', kept[1] or '0')
if kept[2] then redis.call('HSET', KEYS[1], 'reputation', kept[2], 'judged', kept[3]) end
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now - 1000 * ARGV[3]))
redis.call('ZADD', KEYS[2], now, ARGV[1])
return 1
