-- Reads entries of a history, oldest first, until a number of entries or bytes is reached.
--
-- KEYS: the history.    ARGV: number of entries to skip, maximum number of entries, maximum number of bytes.
-- Returns {1 if more entries follow or else 0, entries...}. The first entry is returned whatever its size.

local CHUNK = 20

local skipped, limit, bytes_left = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local page = {0}
while true do
  local first = skipped + #page - 1
  local rows = redis.call('LRANGE', KEYS[1], first, first + CHUNK - 1)
  for _, row in ipairs(rows) do
    bytes_left = bytes_left - #row
    if #page > limit or (bytes_left < 0 and #page > 1) then
      page[1] = 1
      return page
    end
    page[#page + 1] = row
  end
  if #rows < CHUNK then return page end
end
