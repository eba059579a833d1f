-- Settles a webhook: records the outcome of its delivery in the history, and sends the job's next webhook if it is parked.
--
-- KEYS: job, history, webhooks, stream of the cause, stream of webhooks.
-- ARGV: consumer, entry of the cause, number, history entry.
-- Returns OK, or LEASE_LOST.

local pending = redis.pcall('XPENDING', KEYS[4], 'avt', ARGV[2], ARGV[2], 1)
if pending.err or not pending[1] or pending[1][2] ~= ARGV[1] then return 'LEASE_LOST' end

local version = redis.call('HGET', KEYS[1], 'v')
if version then
  expect('list', KEYS[2])
  expect('hash', KEYS[3])
  expect('stream', KEYS[5])
  local clock = redis.call('TIME')
  local now = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
  redis.call('RPUSH', KEYS[2], version .. ' ' .. now .. ' ' .. ARGV[4])
  redis.call('HSET', KEYS[3], 'done', ARGV[3])
  local following = tostring(ARGV[3] + 1)
  local parked = redis.call('HGET', KEYS[3], following)
  if parked then
    redis.call('HDEL', KEYS[3], following)
    redis.call('XADD', KEYS[5], '*', 'p', parked)
  end
end
redis.call('XACK', KEYS[4], 'avt', ARGV[2])
redis.call('XDEL', KEYS[4], ARGV[2])
return 'OK'
