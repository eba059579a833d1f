-- Finds the jobs that are in one of the first indexes and in all others, newest first or oldest first, or counts them by
-- blueprint. It examines a limited number of jobs.
--
-- KEYS: alternative indexes (a job is in one of them at most), then indexes that must all contain the job: sorted sets of job
--       ids by creation. A job has the same score in each of them.
-- ARGV: creation (ms) and id of the job to start after ('' and '' to start with the first), number of jobs to find ('' to
--       count), number of jobs to examine, creation (ms) of the last job ('' for no limit), number of alternative
--       indexes, prefix of the keys of jobs, state ('' for any), text in the error or in the question of an approval, lower
--       case, as JSON and plain ('' for any), 'blueprint' or 'state' (with the plan) to count by, 1 to start with the oldest job, name and
--       roles of a client whom the approval must name ('' for any), fields of the jobs.
-- Returns {creation, id, id, creation and values of the fields of each job found..., or what is counted by and numbers}: creation and id are of
--         the job to start the next call after, '' and '' at the end. Without ARGV[11] all jobs are counted under ''.

local CHUNK = 500
local last_created, last_id, end_created = ARGV[1], ARGV[2], tonumber(ARGV[5])
local counts = ARGV[3] == ''
local wanted, left = tonumber(ARGV[3]), tonumber(ARGV[4])
local alternatives, prefix, state, json_text, text = tonumber(ARGV[6]), ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local ascends = ARGV[12] == '1'
local decider = string.match(ARGV[13], '^%S+')
local READ = ascends and 'ZRANGE' or 'ZREVRANGE'

-- Counts the jobs of an index from the one to start after, which *sign* '(' leaves out, to the last one.
local function count_left(key, sign)
  local near = last_created ~= '' and sign .. last_created or ascends and '-inf' or '+inf'
  local far = end_created and ARGV[5] or ascends and '+inf' or '-inf'
  return redis.call('ZCOUNT', key, ascends and near or far, ascends and far or near)
end

-- The groups of indexes: the alternatives together, every other index alone. The smallest one is read in order.
local groups = {}
for index, key in ipairs(KEYS) do
  if index > alternatives or index == 1 then groups[#groups + 1] = {size = 0} end
  local group = groups[#groups]
  group[#group + 1] = key
  group.size = group.size + count_left(key, '')
end
local driver = groups[1]
for _, group in ipairs(groups) do
  if group.size < driver.size then driver = group end
end
if driver.size == 0 then return {'', ''} end
if counts and #KEYS == 1 and last_id == '' and state == '' and text == '' and not decider and ARGV[11] == '' then
  return {'', '', '', tostring(count_left(KEYS[1], '('))}
end

-- Members with equal scores are ordered by their bytes; the operator < would order them by the locale of the server.
local function has_less(one, other)
  for place = 1, math.min(#one, #other) do
    local left_byte, right_byte = string.byte(one, place), string.byte(other, place)
    if left_byte ~= right_byte then return left_byte < right_byte end
  end
  return #one < #other
end

local function comes_first(one, other)
  if ascends then return has_less(one, other) end
  return has_less(other, one)
end

local function rank_after(key)
  if last_created == '' then return 0 end
  local first = redis.call('ZCOUNT', key, ascends and '-inf' or '(' .. last_created, ascends and '(' .. last_created or '+inf')
  local last = first + redis.call('ZCOUNT', key, last_created, last_created)
  while first < last do
    local middle = math.floor((first + last) / 2)
    if comes_first(last_id, redis.call(READ, key, middle, middle)[1]) then
      last = middle
    else
      first = middle + 1
    end
  end
  return first
end

local sources = {}
for index, key in ipairs(driver) do sources[index] = {key = key, rank = rank_after(key), rows = {}, at = 1} end

-- Returns creation and id of the next job of *source*, nil at the end.
local function head(source)
  if source.at > #source.rows and not source.is_read then
    source.rows = redis.call(READ, source.key, source.rank, source.rank + CHUNK - 1, 'WITHSCORES')
    source.rank, source.at, source.is_read = source.rank + #source.rows / 2, 1, #source.rows < 2 * CHUNK
  end
  local created = source.rows[source.at + 1]
  local distance = created and end_created and (tonumber(created) - end_created) * (ascends and -1 or 1)
  if created and (not distance or distance >= 0) then return created, source.rows[source.at] end
end

local function next_jobs(count)
  local ids, creations = {}, {}
  while #ids < count do
    local chosen, created, id
    for _, source in ipairs(sources) do
      local other, other_id = head(source)
      if other and (not created or (other ~= created and (tonumber(other) < tonumber(created)) == ascends)
          or (other == created and comes_first(other_id, id))) then
        chosen, created, id = source, other, other_id
      end
    end
    if not chosen then break end
    chosen.at = chosen.at + 2
    ids[#ids + 1], creations[#creations + 1] = id, created
  end
  return ids, creations
end

local function memberships(ids)
  local count = {}
  for _, group in ipairs(groups) do
    for _, key in ipairs(group ~= driver and group or {}) do
      for place, score in ipairs(redis.call('ZMSCORE', key, unpack(ids))) do
        if score then count[place] = (count[place] or 0) + 1 end
      end
    end
  end
  return count
end

local function contains(value)
  return type(value) == 'string' and string.find(string.lower(value), text, 1, true) ~= nil
end

-- The record starts with the plan and the state. It is decoded only if the text occurs anywhere in it.
local function names_decider(wait)
  local details = type(wait) == 'table' and wait.details or {}
  for role in string.gmatch(ARGV[13], ' (%S+)') do
    if details.role == role then return true end
  end
  for _, name in ipairs(type(details.assignees) == 'table' and details.assignees or {}) do
    if name == decider then return true end
  end
  return false
end

local function matches(id)
  if state == '' and text == '' and not decider then return true end
  local record = redis.call('HGET', prefix .. id, 'doc') or ''
  if state ~= '' and string.match(record, '"state":"([^"]*)"') ~= state then return false end
  if text == '' and not decider then return true end
  if decider and not string.find(record, '"assignees":', 1, true) and not string.find(record, '"role":', 1, true) then return false end
  if text ~= '' and not string.find(string.lower(record), json_text, 1, true) then return false end
  local is_json, job = pcall(cjson.decode, record)
  if not is_json or type(job) ~= 'table' then return false end
  local problem, wait = job.error, job.wait
  if decider and not names_decider(wait) then return false end
  if text == '' then return true end
  local question = type(wait) == 'table' and type(wait.details) == 'table' and wait.details.message
  return type(problem) == 'table' and (contains(problem.code) or contains(problem.message)) or contains(question)
end

local function group_of(id)
  if ARGV[11] == '' then return '' end
  if ARGV[11] == 'state' then
    local plan, name = string.match(redis.call('HGET', prefix .. id, 'doc') or '', '^{"plan8":"([^"]*)","state":"([^"]*)"')
    return (plan or '') .. (name or '')
  end
  return string.match(redis.call('HGET', prefix .. id, 'init') or '', '^{"blueprint":"([^"]*)"') or ''
end

local found, numbers = {'', ''}, {}
local function answer(created, id)
  found[1], found[2] = created, id
  for group, number in pairs(numbers) do
    found[#found + 1], found[#found + 2] = group, tostring(number)
  end
  return found
end

while left > 0 do
  local chunk = math.min(left, CHUNK)
  local ids, creations = next_jobs(chunk)
  if #ids == 0 then return answer('', '') end
  local count = memberships(ids)
  for place, id in ipairs(ids) do
    if (count[place] or 0) == #groups - 1 and matches(id) then
      if counts then
        local group = group_of(id)
        numbers[group] = (numbers[group] or 0) + 1
      else
        if #found == 3 * wanted + 2 then return answer(last_created, last_id) end
        local fields = redis.pcall('HMGET', prefix .. id, unpack(ARGV, 14))
        found[#found + 1], found[#found + 2], found[#found + 3] = id, creations[place], fields
      end
    end
    last_created, last_id = creations[place], id
  end
  if #ids < chunk then return answer('', '') end
  left = left - #ids
end
return answer(last_created, last_id)
