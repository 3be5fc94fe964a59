-- The prelude: runs once for each state, outside of the sandbox. `host` holds the functions written in Rust, `mode` is "strict" or "lax".
-- Returns the function that makes the globals of one chunk.
local host, mode = ...

return function()
  return _G
end
