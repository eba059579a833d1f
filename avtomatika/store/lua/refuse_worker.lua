-- Records that a message of a registered worker was rejected.
--
-- KEYS: worker.

if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return 0 end  -- the id may be any text
local clock = redis.call('TIME')
redis.call('HSET', KEYS[1], 'refused', string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000)))
return 1
