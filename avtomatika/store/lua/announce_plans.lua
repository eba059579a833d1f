-- Records which plans this process serves and its version, and returns the announcements of all plans.
--
-- KEYS: plans, abandoned plans, versions.
-- ARGV: ms after which a plan or version is forgotten, version, then the served plans, '<blueprint>@<plan_hash>' each; none to
--       read only.
-- Returns {now in ms, {plan, time of its last announcement, ...}, {abandoned plan, ...}}.

expect_keys('zset', 1, 3)
local clock = redis.call('TIME')
local now = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
if #ARGV > 2 then redis.call('ZADD', KEYS[3], now, ARGV[2]) end
for place = 3, #ARGV do
  redis.call('ZADD', KEYS[1], now, ARGV[place])
  redis.call('ZREM', KEYS[2], ARGV[place])
end
local forgotten = string.format('%.0f', now - ARGV[1])
for _, key in ipairs(KEYS) do redis.call('ZREMRANGEBYSCORE', key, '-inf', forgotten) end
return {now, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'), redis.call('ZRANGE', KEYS[2], 0, -1)}
