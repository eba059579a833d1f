-- Shared: the fairness key and the limits of a message.

local limits_cache = {}

-- Parses limits, a JSON array of names and [name, values]; raises an error if the text is not one.
local function limits_of(text)
  local found = limits_cache[text]
  if found then return found end
  found = {}
  for _, limit in ipairs(text ~= '' and cjson.decode(text) or {}) do
    local name, own = limit, nil
    if type(limit) == 'table' then name, own = limit[1], limit[2] end
    if type(name) == 'string' then
      found[#found + 1] = {name = string.gsub(name, '[%z\1]', '?'), own = type(own) == 'table' and own or nil}
    end
  end
  limits_cache[text] = found
  return found
end

-- Returns fairness key and limits (JSON) of a payload's header.
local function flow_of(payload)
  local at, stop = string.find(payload, '"x-flow":', 1, true), string.find(payload, '\n', 1, true)
  if not at or stop and stop < at then return '', '' end
  local key, limits = string.match(payload, '^{"key":"([^"\\%z\1]*)","limits":(%b[])}', at + 9)
  if not key then key, limits = string.match(payload, '^{"key":"([^"\\%z\1]*)"()}', at + 9), '' end
  if key and pcall(limits_of, limits) then return key, limits end
  local is_json, line = pcall(cjson.decode, string.sub(payload, 1, (stop or 0) - 1))
  local flow = is_json and type(line) == 'table' and type(line.headers) == 'table' and line.headers['x-flow']
  if type(flow) ~= 'table' then return '', '' end
  key = string.gsub(tostring(flow.key or ''), '[%z\1]', '?')
  return key, type(flow.limits) == 'table' and cjson.encode(flow.limits) or ''
end
