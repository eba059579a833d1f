-- Finds the jobs that are in all given indexes, newest first. It examines a limited number of jobs.
--
-- KEYS: the indexes, sorted sets of job ids by creation. A job has the same score in each of them.
-- ARGV: creation (ms) and id of the job to start after ('' and '' to start with the newest), number of ids to find, number of
--       jobs to examine.
-- Returns {creation, id, ids found...}: creation and id are of the job to start the next call after, '' and '' at the end.

local CHUNK = 500

local driver, size
for index, key in ipairs(KEYS) do
  local count = redis.call('ZCARD', key)
  if not size or count < size then driver, size = index, count end
end
if size == 0 then return {'', ''} end

-- Members with equal scores are ordered by their bytes; the operator < would order them by the locale of the server.
local function is_before(one, other)
  for place = 1, math.min(#one, #other) do
    local left, right = string.byte(one, place), string.byte(other, place)
    if left ~= right then return left < right end
  end
  return #one < #other
end

local function rank_after(created, id)
  local first = redis.call('ZCOUNT', KEYS[driver], '(' .. created, '+inf')
  local last = first + redis.call('ZCOUNT', KEYS[driver], created, created)
  while first < last do
    local middle = math.floor((first + last) / 2)
    if is_before(redis.call('ZRANGE', KEYS[driver], middle, middle, 'REV')[1], id) then
      last = middle
    else
      first = middle + 1
    end
  end
  return first
end

local function members(ids)
  local count = {}
  for index, key in ipairs(KEYS) do
    if index ~= driver then
      for place, score in ipairs(redis.call('ZMSCORE', key, unpack(ids))) do
        if score then count[place] = (count[place] or 0) + 1 end
      end
    end
  end
  return count
end

local wanted, left = tonumber(ARGV[3]), tonumber(ARGV[4])
local rank = ARGV[1] == '' and 0 or rank_after(ARGV[1], ARGV[2])
local found, next_id = {'', ''}, ''
while left > 0 do
  local chunk = math.min(left, CHUNK)
  local ids = redis.call('ZRANGE', KEYS[driver], rank, rank + chunk - 1, 'REV')
  if #ids == 0 then return found end
  local count = members(ids)
  for place, id in ipairs(ids) do
    if (count[place] or 0) == #KEYS - 1 then
      if #found == wanted + 2 then
        found[1], found[2] = redis.call('ZSCORE', KEYS[driver], found[#found]), found[#found]
        return found
      end
      found[#found + 1] = id
    end
  end
  if #ids < chunk then return found end
  next_id, rank, left = ids[#ids], rank + #ids, left - #ids
end
found[1], found[2] = redis.call('ZSCORE', KEYS[driver], next_id), next_id
return found
