-- Ids of the jobs of one blueprint that have one of some statuses, newest first; and how many there are.
--
-- KEYS: the index of the blueprint, then those of the statuses.    ARGV: how many ids at most.
-- Answers {number, {id, ...}}; the ids are of one status after the other.

local count, found = 0, {}
for index = 2, #KEYS do
  local jobs = redis.call('ZINTER', 2, KEYS[index], KEYS[1], 'AGGREGATE', 'MAX')
  count = count + #jobs
  for place = #jobs, 1, -1 do
    if #found < tonumber(ARGV[1]) then found[#found + 1] = jobs[place] end
  end
end
return {count, found}
