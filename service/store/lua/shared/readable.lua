-- Whether a change was made, and its result; false where the record is damaged. Other errors are raised again: a
-- server that is full, takes no writes or forbids a command says nothing about a record.
local function readable(change, ...)
  local made, result = pcall(change, ...)
  if made then return true, result end
  local text = type(result) == 'table' and result.err or tostring(result)
  local code = string.match(text, '^(%u+) ')
  local forbidden = string.find(text, 'ACL failure', 1, true)
  if forbidden or code and code ~= 'ERR' and code ~= 'WRONGTYPE' then error({err = text}) end
  return false
end
