/* Gives a chunk another name after it was compiled: a chunk of a stored memory image is compiled before anybody knows which hook it belongs to.
 *
 * Reads Lua's internal structures (the headers lie beside the public ones); it calls none of its internal functions. */
#include "bridge.h"
#include "lobject.h"
#include "lstate.h"

static void rename(Proto *proto, TString *name) {
  int i;
  proto->source = name;
  /* As deep as functions can be nested in a text, which the parser bounds. */
  for (i = 0; i < proto->sizep; i++) rename(proto->p[i], name);
}

/* Stack: the chunk's function, the name. The registry keeps the name alive, so no function needs to: that spares the collector's barrier. */
void bridge_rename_top(lua_State *L) {
  const TValue *function;
  lua_pushvalue(L, -1);
  lua_pushboolean(L, 1);
  lua_rawset(L, LUA_REGISTRYINDEX);
  function = L->top - 2;
  if (ttisfunction(function) && !clvalue(function)->c.isC) rename(clvalue(function)->l.p, rawtsvalue(L->top - 1));
}
