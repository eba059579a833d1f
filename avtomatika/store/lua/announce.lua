-- Says which plans are served, and tells of all that are known.
--
-- KEYS: plans, abandoned plans.
-- ARGV: the plans that are served, '<blueprint>@<plan8>' each; none to look only.
-- Answers {now in ms, {plan, when it was announced last, ...}, {abandoned plan, ...}}.

local clock = redis.call('TIME')
local now = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
for _, plan in ipairs(ARGV) do
  redis.call('ZADD', KEYS[1], now, plan)
  redis.call('ZREM', KEYS[2], plan)
end
return {now, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'), redis.call('ZRANGE', KEYS[2], 0, -1)}
