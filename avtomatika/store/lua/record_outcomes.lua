-- Updates the reputation of a worker by the outcomes of its tasks.
--
-- KEYS: worker.    ARGV: factor, addend, seconds in which the difference to 1 halves.
-- Returns 0 for an unregistered worker.

if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'reputation', 'judged')
local reputation, age = tonumber(known[1] or '1'), math.max(now - tonumber(known[2] or now), 0) / 1000
reputation = 1 - (1 - reputation) * 0.5 ^ (age / tonumber(ARGV[3]))
reputation = reputation * tonumber(ARGV[1]) + tonumber(ARGV[2])
redis.call('HSET', KEYS[1], 'reputation', string.format('%.6f', reputation), 'judged', string.format('%.0f', now))
return 1
