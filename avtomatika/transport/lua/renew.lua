-- Renews the leases of entries held by this consumer.
--
-- KEYS: streams.    ARGV: consumer, then per stream the number of its entries and the entries.
-- Returns (index of the stream from 1, entry)... of lost leases.

local lost, at, place = {}, 2, 1
while at <= #ARGV do
  local held = {}
  local last = at + tonumber(ARGV[at])
  for index = at + 1, last do
    if is_leased(KEYS[place], ARGV[index], ARGV[1]) then
      held[#held + 1] = ARGV[index]
    else
      lost[#lost + 1], lost[#lost + 2] = place, ARGV[index]
    end
  end
  if #held > 0 then
    held[#held + 1] = 'JUSTID'
    redis.call('XCLAIM', KEYS[place], 'avt', ARGV[1], 0, unpack(held))
  end
  at, place = last + 1, place + 1
end
return lost
