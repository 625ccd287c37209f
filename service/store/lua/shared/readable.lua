-- Whether a change was made, and its result; false where the record is damaged. Other errors are raised again: a
-- server that is full or takes no writes says nothing about a record.
local function readable(change, ...)
  local made, result = pcall(change, ...)
  if made then return true, result end
  local text = type(result) == 'table' and result.err or tostring(result)
  local code = string.match(text, '^(%u+) ')
  if code and code ~= 'ERR' and code ~= 'WRONGTYPE' then error({err = text}) end
  return false
end
