-- Finds the jobs of one blueprint with any of the given statuses, newest first.
--
-- KEYS: the index of the blueprint, then those of the statuses.    ARGV: maximum number of ids.
-- Returns {number of jobs, {id, ...}}; the ids are grouped by status.

local count, found = 0, {}
for index = 2, #KEYS do
  local jobs = redis.call('ZINTER', 2, KEYS[index], KEYS[1], 'AGGREGATE', 'MAX')
  count = count + #jobs
  for place = #jobs, 1, -1 do
    if #found < tonumber(ARGV[1]) then found[#found + 1] = jobs[place] end
  end
end
return {count, found}
