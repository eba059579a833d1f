-- Shared: reads streams.

local lengths = {}  -- stream -> its length; streams that must not be read are missing
local turns = nil  -- what admit.lua does

-- Reads new entries, which are leased to this consumer, or with *is_leased* false to no one.
local function read(stream, count, is_leased)
  local command = {'XREADGROUP', 'GROUP', 'avt', ARGV[1], 'COUNT', count, 'STREAMS', stream, '>'}
  if not is_leased then table.insert(command, 7, 'NOACK') end
  local reply = redis.pcall(unpack(command))
  if reply and reply.err then
    if not string.find(reply.err, 'NOGROUP', 1, true) then error(reply) end
    redis.call('XGROUP', 'CREATE', stream, 'avt', '0', 'MKSTREAM')
    reply = redis.call(unpack(command))
  end
  return reply and reply[1][2] or {}
end

local function id_before(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  if seq ~= '0' then return string.format('%s-%.0f', ms, seq - 1) end
  return string.format('%.0f-18446744073709551615', ms - 1)
end
