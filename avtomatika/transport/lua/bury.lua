-- Moves one entry that this consumer holds to the dead letters, and publishes what its sender wanted told.
--
-- KEYS: stream, dead letters, queues, then where something is told the binding hash and streams.
-- ARGV: consumer, entry, reason, deliveries, error, queue, then where something is told the version of the bindings ('' for the
--       default exchange, which has none), the payload, and for each of the streams its queue and level.
-- Answers OK | LOST | REROUTE.

if not is_held(KEYS[1], ARGV[2], ARGV[1]) then return 'LOST' end
if #KEYS > 3 then
  if ARGV[7] ~= '' and (redis.call('HGET', KEYS[4], ':version') or '') ~= ARGV[7] then return 'REROUTE' end
  for index = 5, #KEYS do
    local traits = redis.call('HGET', KEYS[3], ARGV[2 * index - 1])
    if not traits or not string.find(traits, ARGV[2 * index], 1, true) then return 'REROUTE' end
    expect('stream', KEYS[index])
  end
end

expect('stream', KEYS[2])
local clock = redis.call('TIME')
local at = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
if entry then
  local fields = entry[2]
  for index = #fields, 201, -1 do fields[index] = nil end  -- of an entry that is not ours not more than can be copied
  local told = {'reason', ARGV[3], 'deliveries', ARGV[4], 'error', ARGV[5], 'at', at, 'queue', ARGV[6]}
  for index = 1, #told do fields[#fields + 1] = told[index] end
  redis.call('XADD', KEYS[2], '*', unpack(fields))
end
for index = 5, #KEYS do redis.call('XADD', KEYS[index], '*', 'p', ARGV[8]) end
finish(KEYS[1], {ARGV[2]})
return 'OK'
