-- Creates jobs with their first history entries, timers and messages, all or none; or returns the ids of existing jobs with
-- their idempotency key, or that the client's monthly quota is exceeded.
--
-- KEYS: idempotency key, quota of the client (the first job if there is no key, or no quota), binding hash, stream of the
--       first messages, timers, timer messages, then of each job: job, history, indexes.
-- ARGV: hash of the body ('' without an idempotency key, which is kept as long as its jobs), binding version, maximum jobs a
--       month ('' for no limit), when the month's count expires (s), number of jobs, then for each job: id, status, doc, init,
--       payload, number of large values, large values (field, JSON), number of indexes, number of timers, timers (name, ms,
--       message), number of history entries, history entries.
-- Returns {'OK', ''} | {'EXISTS', ids} | {'OTHER_BODY', ids} | {'QUOTA', jobs created this month} | {'REROUTE', ''}.

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

local at, key = 6, 7
local function next_argument()
  at = at + 1
  return ARGV[at - 1]
end

-- Read all jobs and check the types of their keys before anything is written.
local news = {}
for number = 1, jobs do
  local new = {job = KEYS[key], history = KEYS[key + 1], values = {}, indexes = {}, timers = {}, entries = {}}
  new.id, new.status, new.doc, new.init = next_argument(), next_argument(), next_argument(), next_argument()
  new.payload = next_argument()
  expect('hash', new.job)
  expect('list', new.history)
  key = key + 2
  for place = 1, tonumber(next_argument()) do new.values[place] = {name = next_argument(), json = next_argument()} end
  for place = 1, tonumber(next_argument()) do
    expect('zset', KEYS[key])
    new.indexes[place], key = KEYS[key], key + 1
  end
  for place = 1, tonumber(next_argument()) do
    new.timers[place] = {name = next_argument(), delay = next_argument(), message = next_argument()}
  end
  for place = 1, tonumber(next_argument()) do new.entries[place] = next_argument() end
  news[number] = new
end
expect('stream', KEYS[4])
expect('zset', KEYS[5])
expect('hash', KEYS[6])

if ARGV[3] ~= '' then
  local created = tonumber(redis.call('GET', KEYS[2]) or 0)
  if created + jobs > tonumber(ARGV[3]) then return {'QUOTA', tostring(created)} end
  redis.call('INCRBY', KEYS[2], jobs)
  redis.call('EXPIREAT', KEYS[2], ARGV[4])
end

local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local now, ids = string.format('%.0f', now_ms), {}
for number, new in ipairs(news) do
  redis.call(
    'HSET', new.job, 'v', 1, 'status', new.status, 'doc', new.doc, 'init', new.init, 'created', now, 'updated', now
  )
  if ARGV[1] ~= '' then redis.call('HSET', new.job, 'idempotency', KEYS[1]) end
  for _, value in ipairs(new.values) do redis.call('HSET', new.job, value.name, value.json) end
  for _, index in ipairs(new.indexes) do redis.call('ZADD', index, now, new.id) end
  for _, timer in ipairs(new.timers) do
    redis.call('ZADD', KEYS[5], string.format('%.0f', now_ms + timer.delay), timer.name)
    redis.call('HSET', KEYS[6], timer.name, timer.message)
  end
  for _, entry in ipairs(new.entries) do redis.call('RPUSH', new.history, '1 ' .. now .. ' ' .. entry) end
  redis.call('XADD', KEYS[4], '*', 'p', new.payload)
  ids[number] = new.id
end
if ARGV[1] ~= '' then redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. table.concat(ids, ' ')) end
return {'OK', ''}
