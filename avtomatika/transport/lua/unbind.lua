-- Removes bindings.    KEYS: the binding hash of each.    ARGV: the bindings.    Returns the number removed.

expect_keys('hash', 1, #KEYS)
local removed = 0
for index, key in ipairs(KEYS) do
  if redis.call('HDEL', key, ARGV[index]) == 1 then
    removed = removed + 1
    redis.call('HSET', key, ':version', table.concat(redis.call('TIME'), '.'))
  end
end
return removed
