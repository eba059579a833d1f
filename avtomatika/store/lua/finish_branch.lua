-- Stores the answer of a branch that succeeded without changing the job's version; the last branch sends the message that all
-- have finished.
--
-- KEYS: job, history, tasks, notes, timers, timer messages, branches, answers of branches, stream of the cause, binding hash,
--       stream of that message.
-- ARGV: consumer, entry of the cause, event, job id, task, attempt, number of the branch, prefix of its state's routing keys,
--       answer, history entry, binding version, the message, maximum bytes of all answers.
-- Returns OK and the type of the task | LEASE_LOST | GONE | TERMINAL | STALE (acknowledged, noted) | REROUTE | ORDINARY (the machine must handle it).

local function is_held(stream, entry)
  local pending = redis.pcall('XPENDING', stream, 'avt', entry, entry, 1)
  return pending.err == nil and pending[1] ~= nil and pending[1][2] == ARGV[1]
end

local function ack()
  redis.call('XACK', KEYS[9], 'avt', ARGV[2])
  redis.call('XDEL', KEYS[9], ARGV[2])
end

local clock = redis.call('TIME')
local now = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))

local function note(reason)
  local text = cjson.encode({event_type = 'task_result_ignored', reason = reason, event = ARGV[3]})
  redis.call('LPUSH', KEYS[4], now .. ' ' .. text)
  redis.call('LTRIM', KEYS[4], 0, 99)
end

if not is_held(KEYS[9], ARGV[2]) then return 'LEASE_LOST' end
local job = redis.call('HMGET', KEYS[1], 'v', 'status', 'final')
if not job[1] then
  ack()
  return 'GONE'
end
if job[3] == '1' then
  note('the job is ' .. job[2])
  ack()
  return 'TERMINAL'
end
if redis.call('HGET', KEYS[3], ARGV[5]) ~= ARGV[6] then
  note('the task is closed, or this is another attempt')
  ack()
  return 'STALE'
end
local branch = redis.call('HMGET', KEYS[7], 'prefix', ARGV[7] .. '/checked', 'bytes', ARGV[7])
if branch[1] ~= ARGV[8] or branch[2] then return 'ORDINARY' end
if (tonumber(branch[3]) or 0) + #ARGV[9] > tonumber(ARGV[13]) then return 'ORDINARY' end
if (redis.call('HGET', KEYS[10], ':version') or '') ~= ARGV[11] then return 'REROUTE' end
expect('stream', KEYS[11])
expect('hash', KEYS[8])
expect('hash', KEYS[6])
expect('list', KEYS[2])
expect('zset', KEYS[5])

redis.call('HSET', KEYS[8], ARGV[7], ARGV[9])
redis.call('HINCRBY', KEYS[7], 'bytes', #ARGV[9])
redis.call('RPUSH', KEYS[2], job[1] .. ' ' .. now .. ' ' .. ARGV[10])
redis.call('HDEL', KEYS[3], ARGV[5], ARGV[5] .. '/worker', ARGV[5] .. '/progress', ARGV[5] .. '/limit')
for _, which in ipairs({':dispatch', ':result'}) do
  local timer = ARGV[4] .. '/' .. ARGV[5] .. which
  if redis.call('ZREM', KEYS[5], timer) == 1 then redis.call('HDEL', KEYS[6], timer) end
end
if redis.call('HINCRBY', KEYS[7], 'left', -1) == 0 then redis.call('XADD', KEYS[11], '*', 'p', ARGV[12]) end
ack()
return 'OK ' .. (string.match(branch[4] or '', '"task_type":"([^"]*)"') or '')
