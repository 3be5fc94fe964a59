local out = {}
local function p(...) out[#out+1] = table.concat({...}, " ") end
-- closures in loops left by goto
local fs = {}
for i = 1, 3 do
  local x = i * 10
  if i == 2 then goto continue end
  fs[#fs+1] = function() x = x + 1 return x end
  ::continue::
end
p(fs[1](), fs[1](), fs[2]())
do
  local gs = {}
  local i = 1
  ::top::
  local y = i
  gs[i] = function() return y end
  i = i + 1
  if i <= 3 then goto top end
  p(gs[1](), gs[2](), gs[3]())
end
do
  local function captured()
    local keep
    local n = 0
    do
      local z = 5
      ::again::
      n = n + 1
      if keep then goto out end
      keep = function() z = z + 1 return z end
      goto again
    end
    ::out::
    local w = 99
    return keep() + w
  end
  p(captured())
end
for i = 1, 3 do for j = 1, 3 do if j == 2 then goto next_i end p(i, j) end ::next_i:: end
local k = 0
repeat k = k + 1; local odd = k % 2; if odd == 1 then goto cont end p("even", k) ::cont:: until k >= 5
while true do k = k - 1 if k > 2 then goto skip end do break end ::skip:: end
p(k)
::a:: do goto b; ::a:: p("inner a") ::b:: end
do local n = 0 ::l1:: n = n + 1 do local q = n; local f = function() return q end if n < 4 then goto l1 end p("n", n, f()) end end
do goto f; ::g:: p "g" goto done; ::f:: p "f" goto g end ::done::

return table.concat(out, "\n")
