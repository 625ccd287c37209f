--@ keys: request_key
--@ arguments: body
--@ result: REPEATED | OTHER_BODY | UNKNOWN
--@ uses: creating
--@ when full: yes
-- What a request with this key created before. Returns a code and, with REPEATED, the id.
local before = remembered(request_key, body)
if before == 'OTHER_BODY' then return {before, ''} end
if before then return {'REPEATED', before} end
return {'UNKNOWN', ''}
