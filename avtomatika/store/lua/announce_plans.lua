-- Records which plans this process serves, and returns the announcements of all plans.
--
-- KEYS: plans, abandoned plans.
-- ARGV: ms after which a plan is forgotten, then the served plans, '<blueprint>@<plan_hash>' each; none to read only.
-- Returns {now in ms, {plan, time of its last announcement, ...}, {abandoned plan, ...}}.

expect('zset', KEYS[1])
expect('zset', KEYS[2])
local clock = redis.call('TIME')
local now = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
for place = 2, #ARGV do
  redis.call('ZADD', KEYS[1], now, ARGV[place])
  redis.call('ZREM', KEYS[2], ARGV[place])
end
local forgotten = string.format('%.0f', now - ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', forgotten)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', forgotten)
return {now, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'), redis.call('ZRANGE', KEYS[2], 0, -1)}
