-- Records that a worker has started a task, and starts the result timeout. Does not change the job's version.
--
-- KEYS: job, history, tasks, timers, timer messages, stream of the cause.
-- ARGV: consumer, entry of the cause ('' if there is nothing to acknowledge), task, attempt, worker, name of the dispatch
--       timer, name of the result timer, history entry.
-- Returns OK, LEASE_LOST, or STALE (the task is no longer open).

local function ack()
  if ARGV[2] == '' then return end
  redis.call('XACK', KEYS[6], 'avt', ARGV[2])
  redis.call('XDEL', KEYS[6], ARGV[2])
end

if ARGV[2] ~= '' then
  local pending = redis.pcall('XPENDING', KEYS[6], 'avt', ARGV[2], ARGV[2], 1)
  if pending.err or not pending[1] or pending[1][2] ~= ARGV[1] then return 'LEASE_LOST' end
end

local task = redis.call('HMGET', KEYS[3], ARGV[3], ARGV[3] .. '/worker', ARGV[3] .. '/limit')
if task[1] ~= ARGV[4] or task[2] == ARGV[5] then
  ack()
  return 'STALE'
end

local has_timer = redis.call('ZSCORE', KEYS[4], ARGV[6])
if has_timer or task[3] then
  expect('zset', KEYS[4])
  expect('hash', KEYS[5])
end
local version = redis.call('HGET', KEYS[1], 'v') or '0'
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
-- The first write also checks the type of its key; those of the others are known.
redis.call('RPUSH', KEYS[2], version .. ' ' .. string.format('%.0f', now) .. ' ' .. ARGV[8])
redis.call('HSET', KEYS[3], ARGV[3] .. '/worker', ARGV[5])
if has_timer then
  redis.call('ZREM', KEYS[4], ARGV[6])
  redis.call('HDEL', KEYS[5], ARGV[6])
end
if task[3] then
  local limit, message = string.match(task[3], '^(%d+) (.*)$')
  redis.call('ZADD', KEYS[4], string.format('%.0f', now + limit), ARGV[7])
  redis.call('HSET', KEYS[5], ARGV[7], message)
end
ack()
return 'OK'
