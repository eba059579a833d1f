-- The figures of each minute of the last day, in fixed space.
--
-- The string <prefix><ten minutes since 1970> has for each of its minutes seven unsigned 32-bit numbers: jobs created,
-- finished, failed and cancelled, then a sample: running tasks, waiting tasks, and the seconds that the first of them has
-- waited, each plus one (0: not sampled).

local STATISTICS_SECONDS = 90000

-- Returns the key and the position of a number, from 0, of the minute of *now* (ms).
local function position(prefix, column, now)
  local minute = (now - now % 60000) / 60000
  return prefix .. (minute - minute % 10) / 10, '#' .. minute % 10 * 7 + column
end

-- Adds to a number. It never stops a script: jobs matter more than their number.
local function count_jobs(prefix, column, count, now)
  local key, place = position(prefix, column, now)
  local counted = redis.pcall('BITFIELD', key, 'INCRBY', 'u32', place, count)
  if counted[1] == count then redis.call('EXPIRE', key, STATISTICS_SECONDS) end
end
