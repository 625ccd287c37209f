--@ keys: record
--@ arguments: id
--@ uses: cancelling
--@ when full: yes
-- Cancels a queued experiment and asks a running one to stop. Returns the status before; '' where there is none.
return cancel() or ''
