-- Creates jobs with their first history entries, timers and messages, all or none; or answers the ids that their
-- idempotency key has already, or that its client may not create so many this month.
--
-- KEYS: idempotency key, quota of the client (the first job where there is no key, or no quota), binding hash, stream of the
--       first messages, timers, timer messages, then of each job: job, history, indexes.
-- ARGV: hash of the body ('' without an idempotency key, which lives as long as its jobs), binding version, most jobs in a
--       month ('' for any number), when the month's count goes (s), number of jobs, then of each job: id, status, doc, init, payload, number of indexes, number of timers, timers (name, ms, message), number of
--       history entries, history entries.
-- Answers {'OK', ''} | {'EXISTS', ids} | {'OTHER_BODY', ids} | {'QUOTA', jobs created this month} | {'REROUTE', ''}.

if ARGV[1] ~= '' then
  local held = redis.call('GET', KEYS[1])
  if held then
    local hash, ids = string.match(held, '^(%S+) (.+)$')
    return {hash == ARGV[1] and 'EXISTS' or 'OTHER_BODY', ids}
  end
end
if redis.call('EXISTS', KEYS[7]) == 1 then return {'EXISTS', ''} end
if (redis.call('HGET', KEYS[3], ':version') or '') ~= ARGV[2] then return {'REROUTE', ''} end
local jobs = tonumber(ARGV[5])
if ARGV[3] ~= '' then
  local created = tonumber(redis.call('GET', KEYS[2]) or 0)
  if created + jobs > tonumber(ARGV[3]) then return {'QUOTA', tostring(created)} end
  redis.call('INCRBY', KEYS[2], jobs)
  redis.call('EXPIREAT', KEYS[2], ARGV[4])
end

local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local now = string.format('%.0f', now_ms)
local key, at, ids = 7, 6, {}

local function next_argument()
  at = at + 1
  return ARGV[at - 1]
end

for number = 1, jobs do
  local id, status, doc, init, payload = next_argument(), next_argument(), next_argument(), next_argument(), next_argument()
  local job, history = KEYS[key], KEYS[key + 1]
  key = key + 2
  redis.call('HSET', job, 'v', 1, 'status', status, 'doc', doc, 'init', init, 'created', now, 'updated', now)
  if ARGV[1] ~= '' then redis.call('HSET', job, 'idempotency', KEYS[1]) end
  for _ = 1, tonumber(next_argument()) do
    redis.call('ZADD', KEYS[key], now, id)
    key = key + 1
  end
  for _ = 1, tonumber(next_argument()) do
    local name, delay, message = next_argument(), next_argument(), next_argument()
    redis.call('ZADD', KEYS[5], string.format('%.0f', now_ms + delay), name)
    redis.call('HSET', KEYS[6], name, message)
  end
  for _ = 1, tonumber(next_argument()) do redis.call('RPUSH', history, '1 ' .. now .. ' ' .. next_argument()) end
  redis.call('XADD', KEYS[4], '*', 'p', payload)
  ids[number] = id
end
if ARGV[1] ~= '' then redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. table.concat(ids, ' ')) end
return {'OK', ''}
