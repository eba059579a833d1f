-- Returns the ids of all unfinished jobs at one moment, so that no job is missed while its status changes.
--
-- KEYS: the index of each status.

local found = {}
for _, key in ipairs(KEYS) do
  for _, job in ipairs(redis.call('ZRANGE', key, 0, -1)) do found[#found + 1] = job end
end
return found
