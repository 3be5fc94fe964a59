/* What OpenResty's LuaJIT has beside Lua's own libraries, and what a state needs of its own. The rest of the dialect is in patches/. */
#include "bridge.h"
#include "lauxlib.h"

/* table.new(items, members): a table with room. */
static int table_new(lua_State *L) {
  int items = luaL_checkint(L, 1), members = luaL_checkint(L, 2);
  /* Room that is never used costs memory all the same; more than this is a mistake. */
  luaL_argcheck(L, items <= 1 << 24, 1, "too large");
  luaL_argcheck(L, members <= 1 << 22, 2, "too large");
  lua_createtable(L, items < 0 ? 0 : items, members < 0 ? 0 : members);
  return 1;
}

/* table.clear(table): without its values, with its room. */
static int table_clear(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  for (lua_pushnil(L); lua_next(L, 1) != 0;) {
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushnil(L);
    lua_rawset(L, 1);
  }
  return 0;
}

/* How many members there are, and whether all are keys 1…n. */
static int count(lua_State *L, int *is_array) {
  int members = 0;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  *is_array = 1;
  for (lua_pushnil(L); lua_next(L, 1) != 0; members++) {
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TNUMBER || lua_tonumber(L, -1) < 1 || lua_tonumber(L, -1) != (lua_Number)(long long)lua_tonumber(L, -1)) *is_array = 0;
  }
  return members;
}

static int table_nkeys(lua_State *L) {
  int is_array;
  lua_pushinteger(L, count(L, &is_array));
  return 1;
}

static int table_isarray(lua_State *L) {
  int is_array;
  count(L, &is_array);
  lua_pushboolean(L, is_array);
  return 1;
}

static int table_isempty(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_pushnil(L);
  lua_pushboolean(L, lua_next(L, 1) == 0);
  return 1;
}

/* table.clone(table): its members, not its metatable. */
static int table_clone(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_newtable(L);
  for (lua_pushnil(L); lua_next(L, 1) != 0;) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, 2);
  }
  return 1;
}

/* table.move(from, first, last, to[, target]), as in Lua 5.3. */
static int table_move(lua_State *L) {
  lua_Number first = luaL_checknumber(L, 2), last = luaL_checknumber(L, 3), to = luaL_checknumber(L, 4), step;
  int target = lua_isnoneornil(L, 5) ? 1 : 5;
  luaL_checktype(L, 1, LUA_TTABLE);
  if (target == 5) luaL_checktype(L, 5, LUA_TTABLE);
  if (last >= first) {
    /* Backwards where the places overlap. */
    int backwards = to > first && to <= last && target == 1;
    for (step = 0; step <= last - first; step++) {
      lua_Number at = backwards ? last - first - step : step;
      lua_pushnumber(L, to + at);
      lua_pushnumber(L, first + at);
      lua_gettable(L, 1);
      lua_settable(L, target);
    }
  }
  lua_pushvalue(L, target);
  return 1;
}

/* Reachable by require("table.new") and so on: the prelude's `host["table.new"]`. */
static const luaL_Reg HOST[] = {
    {"table.new", table_new},         {"table.clear", table_clear},     {"table.nkeys", table_nkeys}, {"table.isarray", table_isarray},
    {"table.isempty", table_isempty}, {"table.clone", table_clone},     {NULL, NULL},
};

void bridge_open_dialect(lua_State *L) {
  const luaL_Reg *function;
  /* The table of host functions is on top. */
  for (function = HOST; function->func != NULL; function++) {
    lua_pushcfunction(L, function->func);
    lua_setfield(L, -2, function->name);
  }
  lua_getglobal(L, "table");
  lua_pushcfunction(L, table_move);
  lua_setfield(L, -2, "move");
  lua_pushnil(L);
  lua_setfield(L, -2, "setn");
  lua_pop(L, 1);
  lua_getglobal(L, "string");
  lua_pushnil(L);
  lua_setfield(L, -2, "dump");
  lua_pop(L, 1);
  lua_getglobal(L, "math");
  random_open(L);
  lua_pop(L, 1);
}
