-- Finds the jobs that are in one of the first indexes and in all others, newest first, or counts them by blueprint. It examines
-- a limited number of jobs.
--
-- KEYS: alternative indexes (a job is in one of them at most), then indexes that must all contain the job: sorted sets of job
--       ids by creation. A job has the same score in each of them.
-- ARGV: creation (ms) and id of the job to start after ('' and '' to start with the newest), number of ids to find ('' to
--       count), number of jobs to examine, creation (ms) of the oldest job ('-inf' for no limit), number of alternative
--       indexes, prefix of the keys of jobs, state ('' for any), text in the error, lower case, as JSON and plain ('' for any),
--       1 to count by blueprint.
-- Returns {creation, id, ids found..., or blueprints and numbers}: creation and id are of the job to start the next call after,
--         '' and '' at the end. Without ARGV[11] all jobs are counted under the blueprint ''.

local CHUNK = 500
local last_created, last_id, oldest = ARGV[1], ARGV[2], ARGV[5]
local counts = ARGV[3] == ''
local wanted, left = tonumber(ARGV[3]), tonumber(ARGV[4])
local alternatives, prefix, state, json_text, text = tonumber(ARGV[6]), ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local newest = last_created == '' and '+inf' or last_created

-- The groups of indexes: the alternatives together, every other index alone. The smallest one is read in order.
local groups = {}
for index, key in ipairs(KEYS) do
  if index > alternatives or index == 1 then groups[#groups + 1] = {size = 0} end
  local group = groups[#groups]
  group[#group + 1] = key
  group.size = group.size + redis.call('ZCOUNT', key, oldest, newest)
end
local driver = groups[1]
for _, group in ipairs(groups) do
  if group.size < driver.size then driver = group end
end
if driver.size == 0 then return {'', ''} end
if counts and #KEYS == 1 and last_id == '' and state == '' and text == '' and ARGV[11] == '' then
  newest = last_created == '' and '+inf' or '(' .. last_created
  return {'', '', '', tostring(redis.call('ZCOUNT', KEYS[1], oldest, newest))}
end

-- Members with equal scores are ordered by their bytes; the operator < would order them by the locale of the server.
local function is_before(one, other)
  for place = 1, math.min(#one, #other) do
    local left_byte, right_byte = string.byte(one, place), string.byte(other, place)
    if left_byte ~= right_byte then return left_byte < right_byte end
  end
  return #one < #other
end

local function rank_after(key)
  if last_created == '' then return 0 end
  local first = redis.call('ZCOUNT', key, '(' .. last_created, '+inf')
  local last = first + redis.call('ZCOUNT', key, last_created, last_created)
  while first < last do
    local middle = math.floor((first + last) / 2)
    if is_before(redis.call('ZRANGE', key, middle, middle, 'REV')[1], last_id) then
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
    source.rows = redis.call('ZRANGE', source.key, source.rank, source.rank + CHUNK - 1, 'REV', 'WITHSCORES')
    source.rank, source.at, source.is_read = source.rank + #source.rows / 2, 1, #source.rows < 2 * CHUNK
  end
  local created = source.rows[source.at + 1]
  if created and (oldest == '-inf' or tonumber(created) >= tonumber(oldest)) then return created, source.rows[source.at] end
end

local function next_jobs(count)
  local ids, creations = {}, {}
  while #ids < count do
    local chosen, created, id
    for _, source in ipairs(sources) do
      local other, other_id = head(source)
      if other and (not created or tonumber(other) > tonumber(created)
          or (other == created and is_before(id, other_id))) then
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
local function matches(id)
  if state == '' and text == '' then return true end
  local record = redis.call('HGET', prefix .. id, 'doc') or ''
  if state ~= '' and string.match(record, '"state":"([^"]*)"') ~= state then return false end
  if text == '' then return true end
  if not string.find(string.lower(record), json_text, 1, true) then return false end
  local is_json, job = pcall(cjson.decode, record)
  local problem = is_json and type(job) == 'table' and job.error
  return type(problem) == 'table' and (contains(problem.code) or contains(problem.message))
end

local function blueprint_of(id)
  if ARGV[11] == '' then return '' end
  return string.match(redis.call('HGET', prefix .. id, 'init') or '', '^{"blueprint":"([^"]*)"') or ''
end

local found, numbers = {'', ''}, {}
local function answer(created, id)
  found[1], found[2] = created, id
  for blueprint, number in pairs(numbers) do
    found[#found + 1], found[#found + 2] = blueprint, tostring(number)
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
        local blueprint = blueprint_of(id)
        numbers[blueprint] = (numbers[blueprint] or 0) + 1
      else
        if #found == wanted + 2 then return answer(last_created, last_id) end
        found[#found + 1] = id
      end
    end
    last_created, last_id = creations[place], id
  end
  if #ids < chunk then return answer('', '') end
  left = left - #ids
end
return answer(last_created, last_id)
