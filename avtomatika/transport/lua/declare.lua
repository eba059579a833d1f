-- Declares exchanges, queues and bindings; leaves existing ones unchanged and writes nothing for them.
--
-- KEYS: exchanges, queues, bell, then the binding hash of each bound exchange.
-- ARGV: number of exchanges, number of queues, (exchange, type)..., queues..., then per binding hash the number of its new
--       bindings and the bindings.
-- Returns {'OK'} | {'OTHER_TYPE', exchange, its type}.

expect('hash', KEYS[1])
expect('hash', KEYS[2])
expect_keys('hash', 4, #KEYS)
expect('stream', KEYS[3])
local exchanges, queues = tonumber(ARGV[1]), tonumber(ARGV[2])
for index = 3, 1 + 2 * exchanges, 2 do
  local declared = redis.call('HGET', KEYS[1], ARGV[index])
  if declared and declared ~= ARGV[index + 1] then return {'OTHER_TYPE', ARGV[index], declared} end
end
for index = 3, 1 + 2 * exchanges, 2 do redis.call('HSETNX', KEYS[1], ARGV[index], ARGV[index + 1]) end

local at = 3 + 2 * exchanges
local is_new = false
for index = at, at + queues - 1 do
  if redis.call('HSETNX', KEYS[2], ARGV[index], '0') == 1 then is_new = true end
end
if is_new then redis.call('XADD', KEYS[3], 'MAXLEN', 1, '*', 'declared', queues) end

at = at + queues
for key = 4, #KEYS do
  local changed = false
  local last = at + tonumber(ARGV[at])
  for index = at + 1, last do
    if redis.call('HSETNX', KEYS[key], ARGV[index], '') == 1 then changed = true end
  end
  if changed then redis.call('HSET', KEYS[key], ':version', table.concat(redis.call('TIME'), '.')) end
  at = last + 1
end
return {'OK'}
