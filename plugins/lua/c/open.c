/* The libraries that every state has. Add a line for a library of ours; the prelude decides what a chunk sees of it. */
#include "bridge.h"
#include "lauxlib.h"
#include "lualib.h"

int luaopen_bit(lua_State *L);
int luaopen_cjson(lua_State *L);

static const luaL_Reg LIBRARIES[] = {
    {"", luaopen_base},
    {LUA_TABLIBNAME, luaopen_table},
    {LUA_STRLIBNAME, luaopen_string},
    {LUA_MATHLIBNAME, luaopen_math},
    {"bit", luaopen_bit},
    {"cjson", luaopen_cjson},
    {NULL, NULL},
};

void bridge_open_libraries(lua_State *L) {
  const luaL_Reg *library;
  for (library = LIBRARIES; library->func != NULL; library++) {
    lua_pushcfunction(L, library->func);
    lua_pushstring(L, library->name);
    lua_call(L, 1, 0);
  }
}
