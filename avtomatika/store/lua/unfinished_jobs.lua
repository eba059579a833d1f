-- Ids of all jobs that are not over, at one moment: a job that goes from one status to another is in one of them.
--
-- KEYS: the index of each status.    Answers the ids.

local found = {}
for _, key in ipairs(KEYS) do
  for _, job in ipairs(redis.call('ZRANGE', key, 0, -1)) do found[#found + 1] = job end
end
return found
