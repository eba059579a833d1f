-- Creates jobs with their first history entries, timers, tasks and messages, all or none; or returns the ids of existing jobs
-- with their idempotency or unique key, or that the client's monthly quota is exceeded.
--
-- KEYS: idempotency key, quota of the client (the first job if there is no key, or no quota), timers, timer messages, prefix of
--       the statistics, binding hashes, then of each job: job, history, open tasks, list of its unique key (the job if it
--       has none), indexes, streams of its messages, streams of the jobs that it replaces.
-- ARGV: hash of the body ('' without an idempotency key, which is kept as long as its jobs; '@' and the key if it is in another
--       shard, where it reserves the ids of the jobs), maximum jobs a month ('' for no
--       limit), when the month's count expires (s), number of binding hashes, their versions, number of jobs, then for each
--       job: id, status, doc, init, and each list with its length before it: large values (field, JSON); timers (name, delay
--       ms or '@' and ms since the epoch, message); opened tasks (task, attempt, result timeout ms or '', its timer message);
--       history entries. Then number of indexes, number of messages, messages (payload, revocation groups
--       or ''), what happens if its unique key is in use ('' without one), number of jobs that it replaces, these (id,
--       message that cancels it).
-- Returns {'OK', '' or ids} | {'TAKEN', id} | {'FULL', id} | {'EXISTS', ids} | {'OTHER_BODY', ids} |
--         {'QUOTA', jobs created this month} | {'REROUTE', ''}.

local reserved = string.match(ARGV[1], '^@(.*)$')
local has_key = ARGV[1] ~= '' and not reserved
if has_key then
  local held = redis.call('GET', KEYS[1])
  if held then
    local hash, ids = string.match(held, '^(%S+) (.+)$')
    return {hash == ARGV[1] and 'EXISTS' or 'OTHER_BODY', ids}
  end
end
local MOST_WAITING = 100
local at, key = 4, 6
local function next_argument()
  at = at + 1
  return ARGV[at - 1]
end
local function next_key()
  key = key + 1
  return KEYS[key - 1]
end
local function next_rows(width)
  local rows = {}
  for place = 1, tonumber(next_argument()) do
    rows[place] = {}
    for column = 1, width do rows[place][column] = next_argument() end
  end
  return rows
end

local bindings = tonumber(next_argument())
for _ = 1, bindings do
  if (redis.call('HGET', next_key(), ':version') or '') ~= next_argument() then return {'REROUTE', ''} end
end

-- Read all jobs and check the types of their keys before anything is written.
local news, lines, is_again, has_existing = {}, {}, false, false
for number = 1, tonumber(next_argument()) do
  local new = {job = next_key(), history = next_key(), tasks = next_key(), line = next_key(), indexes = {}, messages = {}}
  new.id, new.status, new.doc, new.init = next_argument(), next_argument(), next_argument(), next_argument()
  new.values, new.timers, new.opened, new.entries = next_rows(2), next_rows(3), next_rows(4), next_rows(1)
  if redis.call('EXISTS', new.job, new.history, new.tasks) > 0 then
    is_again = is_again or redis.call('EXISTS', new.job) == 1
    expect('hash', new.job)
    expect('list', new.history)
    expect('hash', new.tasks)
  end
  if #new.timers > 0 then
    expect('zset', KEYS[3])
    expect('hash', KEYS[4])
  end
  local indexes, messages = tonumber(next_argument()), tonumber(next_argument())
  for place = 1, indexes do
    new.indexes[place] = next_key()
    expect('zset', new.indexes[place])
  end
  for place = 1, messages do
    new.messages[place] = {stream = next_key(), payload = next_argument(), groups = next_argument()}
    expect('stream', new.messages[place].stream)
  end
  new.policy, new.replaced = next_argument(), next_rows(2)
  for _, old in ipairs(new.replaced) do old.stream = next_key() end
  news[number] = new
end

-- The jobs before each one with the same unique key, also those of this batch.
local prefix = string.sub(news[1].job, 1, -#news[1].id - 1)
for _, new in ipairs(news) do
  if new.policy ~= '' then
    local line = lines[new.line] or unfinished_in(new.line, prefix, KEYS[3], KEYS[4])
    lines[new.line] = line
    if line[1] and new.policy == 'return_existing' then
      new.existing, has_existing = line[1], true
    elseif line[1] and new.policy == 'reject' and not is_again then
      return {'TAKEN', line[1]}
    elseif #line > MOST_WAITING and not is_again then
      return {'FULL', line[1]}
    else
      new.waits = line[1] ~= nil
      for place, id in ipairs(new.policy == 'replace' and not line.is_new and line or {}) do
        if (new.replaced[place] or {})[1] ~= id and not is_again then return {'REROUTE', ''} end
      end
      line[#line + 1], line.is_new = new.id, true
    end
  end
end
local ids, created_count = {}, 0
for number, new in ipairs(news) do
  ids[number] = new.existing or new.id
  if not new.existing then created_count = created_count + 1 end
end
if is_again then return {'EXISTS', table.concat(ids, ' ')} end

if ARGV[2] ~= '' and created_count > 0 then
  local created = tonumber(redis.call('GET', KEYS[2]) or 0)
  if created + created_count > tonumber(ARGV[2]) then return {'QUOTA', tostring(created)} end
  redis.call('INCRBY', KEYS[2], created_count)
  redis.call('EXPIREAT', KEYS[2], ARGV[3])
end

local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local now, members = string.format('%.0f', now_ms), {}

-- Adds the job *id* to an index together with others: most jobs of a batch are in the same indexes.
local function add_member(index, id)
  local rows = members[index] or {}
  if #rows >= 2000 then
    redis.call('ZADD', index, unpack(rows))
    rows = {}
  end
  rows[#rows + 1], rows[#rows + 2] = now, id
  members[index] = rows
end

local function create(new)
  redis.call(
    'HSET', new.job, 'v', 1, 'status', new.status, 'doc', new.doc, 'init', new.init, 'created', now, 'updated', now,
    unpack(reserved and {'reserved', reserved} or has_key and {'idempotency', KEYS[1]} or {})
  )
  for _, value in ipairs(new.values) do redis.call('HSET', new.job, value[1], value[2]) end
  for _, index in ipairs(new.indexes) do add_member(index, new.id) end
  local can_wait = new.policy == 'replace' or new.policy == 'queue'
  for _, timer in ipairs(new.timers) do
    local due = string.match(timer[2], '^@(-?%d+)$') or string.format('%.0f', now_ms + timer[2])
    local starts = can_wait and string.sub(timer[1], -6) == ':start'
    if starts and new.waits then
      redis.call('HSET', new.job, 'start', due .. ' ' .. timer[1] .. ' ' .. timer[3])
    elseif not starts or #new.messages == 0 then
      redis.call('ZADD', KEYS[3], due, timer[1])
      redis.call('HSET', KEYS[4], timer[1], timer[3])
    end
  end
  if new.policy ~= '' then
    redis.call('RPUSH', new.line, new.id)
    redis.call('HSET', new.job, 'unique', new.line)
  end
  for _, old in ipairs(new.replaced) do
    if old[2] ~= '' then redis.call('XADD', old.stream, '*', 'p', old[2]) end
  end
  for _, task in ipairs(new.opened) do
    redis.call('HSET', new.tasks, task[1], task[2])
    if task[3] ~= '' then redis.call('HSET', new.tasks, task[1] .. '/limit', task[3] .. ' ' .. task[4]) end
  end
  local entries = {}
  for place, entry in ipairs(new.entries) do entries[place] = '1 ' .. now .. ' ' .. entry[1] end
  redis.call('RPUSH', new.history, unpack(entries))
  for _, message in ipairs(new.waits and {} or new.messages) do
    if message.groups == '' then
      redis.call('XADD', message.stream, '*', 'p', message.payload)
    else
      redis.call('XADD', message.stream, '*', 'p', message.payload, 'g', message.groups)
    end
  end
end
for _, new in ipairs(news) do
  if not new.existing then create(new) end
end
for index, rows in pairs(members) do redis.call('ZADD', index, unpack(rows)) end
count_jobs(KEYS[5], 0, created_count, now_ms)
if has_key then
  -- Jobs of other requests do not delete it with them.
  redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. table.concat(ids, ' '), unpack(has_existing and {'EX', 604800} or {}))
end
return {'OK', has_existing and table.concat(ids, ' ') or ''}
