/* `cjson` and `cjson.safe`: the module with its settings. The work is in json_encode.c and json_decode.c. */
#include "json.h"
#include "lauxlib.h"

const char JSON_EMPTY_ARRAY = 0, JSON_ARRAY_MT = 0, JSON_EMPTY_ARRAY_MT = 0;

static JsonConfig *config_of(lua_State *L) {
  return (JsonConfig *)lua_touserdata(L, lua_upvalueindex(1));
}

static int encode(lua_State *L) {
  luaL_argcheck(L, lua_gettop(L) == 1, 1, "expected 1 argument");
  json_encode(L, config_of(L));
  return 1;
}

static int decode(lua_State *L) {
  size_t len;
  const char *text;
  luaL_argcheck(L, lua_gettop(L) == 1, 1, "expected 1 argument");
  text = luaL_checklstring(L, 1, &len);
  json_decode(L, config_of(L), text, len);
  return 1;
}

/* Calls the function in upvalue 1: its result, or nil and the message. */
static int protected(lua_State *L) {
  int status;
  luaL_argcheck(L, lua_gettop(L) == 1, 1, "expected 1 argument");
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  status = lua_pcall(L, 1, 1, 0);
  if (status == 0) return 1;
  if (status != LUA_ERRRUN) return luaL_error(L, "Memory allocation error in CJSON protected call");
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

static int whole_option(lua_State *L, int arg, int *setting, int min, int max) {
  if (!lua_isnoneornil(L, arg)) {
    int wanted = luaL_checkint(L, arg);
    if (wanted < min || wanted > max) {
      lua_pushfstring(L, "expected integer between %d and %d", min, max);
      return luaL_argerror(L, arg, lua_tostring(L, -1));
    }
    *setting = wanted;
  }
  lua_pushinteger(L, *setting);
  return 1;
}

static int flag_option(lua_State *L, int arg, int *setting) {
  if (!lua_isnoneornil(L, arg)) {
    luaL_checktype(L, arg, LUA_TBOOLEAN);
    *setting = lua_toboolean(L, arg);
  }
  lua_pushboolean(L, *setting);
  return 1;
}

/* A flag that can also be a word: `second`, which is stored as 2. */
static int word_option(lua_State *L, int *setting, const char *second) {
  if (lua_isboolean(L, 1)) {
    *setting = lua_toboolean(L, 1);
  } else if (!lua_isnoneornil(L, 1)) {
    const char *words[] = {"off", "on", NULL, NULL};
    words[2] = second;
    *setting = luaL_checkoption(L, 1, NULL, words);
  }
  if (*setting == 2) lua_pushstring(L, second);
  else lua_pushboolean(L, *setting);
  return 1;
}

static int sparse_array(lua_State *L) {
  JsonConfig *config = config_of(L);
  lua_settop(L, 3);
  flag_option(L, 1, &config->sparse_convert);
  whole_option(L, 2, &config->sparse_ratio, 0, 2147483647);
  whole_option(L, 3, &config->sparse_safe, 0, 2147483647);
  return 3;
}

/* Deeper than this C's own stack could overflow. */
#define DEPTH_CEILING 1000

static int encode_max_depth(lua_State *L) {
  return whole_option(L, 1, &config_of(L)->encode_depth, 1, DEPTH_CEILING);
}

static int decode_max_depth(lua_State *L) {
  return whole_option(L, 1, &config_of(L)->decode_depth, 1, DEPTH_CEILING);
}

static int number_precision(lua_State *L) {
  return whole_option(L, 1, &config_of(L)->precision, 1, 16);
}

/* There is no buffer to keep. */
static int keep_buffer(lua_State *L) {
  int always = 1;
  return flag_option(L, 1, &always);
}

static int encode_invalid_numbers(lua_State *L) {
  return word_option(L, &config_of(L)->encode_invalid, "null");
}

static int decode_invalid_numbers(lua_State *L) {
  return word_option(L, &config_of(L)->decode_invalid, NULL);
}

static int empty_table_as_object(lua_State *L) {
  return flag_option(L, 1, &config_of(L)->empty_as_object);
}

static int escape_forward_slash(lua_State *L) {
  return flag_option(L, 1, &config_of(L)->escape_slash);
}

static int skip_unsupported(lua_State *L) {
  return flag_option(L, 1, &config_of(L)->skip_unsupported);
}

static int array_with_array_mt(lua_State *L) {
  return flag_option(L, 1, &config_of(L)->mark_arrays);
}

static void make(lua_State *L, int safe);

static int make_plain(lua_State *L) {
  make(L, 0);
  return 1;
}

static int make_safe(lua_State *L) {
  make(L, 1);
  return 1;
}

static const luaL_Reg FUNCTIONS[] = {
    {"encode", encode},
    {"decode", decode},
    {"encode_sparse_array", sparse_array},
    {"encode_max_depth", encode_max_depth},
    {"decode_max_depth", decode_max_depth},
    {"encode_number_precision", number_precision},
    {"encode_keep_buffer", keep_buffer},
    {"encode_invalid_numbers", encode_invalid_numbers},
    {"decode_invalid_numbers", decode_invalid_numbers},
    {"encode_empty_table_as_object", empty_table_as_object},
    {"encode_escape_forward_slash", escape_forward_slash},
    {"encode_skip_unsupported_value_types", skip_unsupported},
    {"decode_array_with_array_mt", array_with_array_mt},
    {NULL, NULL},
};

/* The metatable that is kept under this key, as a field of the module at the top. */
static void put_metatable(lua_State *L, const char *name, const char *key) {
  lua_pushlightuserdata(L, (void *)key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushlightuserdata(L, (void *)key);
    lua_pushvalue(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
  }
  lua_setfield(L, -2, name);
}

static void make(lua_State *L, int safe) {
  static const JsonConfig DEFAULTS = {0, 2, 10, 1000, 1000, 14, 0, 1, 1, 1, 0, 0};
  const luaL_Reg *function;
  lua_newtable(L);
  *(JsonConfig *)lua_newuserdata(L, sizeof(JsonConfig)) = DEFAULTS;
  for (function = FUNCTIONS; function->name != NULL; function++) {
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, function->func, 1);
    if (safe && (function->func == encode || function->func == decode)) lua_pushcclosure(L, protected, 1);
    lua_setfield(L, -3, function->name);
  }
  lua_pop(L, 1);
  lua_pushcfunction(L, safe ? make_safe : make_plain);
  lua_setfield(L, -2, "new");
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
  lua_pushlightuserdata(L, (void *)&JSON_EMPTY_ARRAY);
  lua_setfield(L, -2, "empty_array");
  put_metatable(L, "array_mt", &JSON_ARRAY_MT);
  put_metatable(L, "empty_array_mt", &JSON_EMPTY_ARRAY_MT);
  lua_pushstring(L, safe ? "cjson.safe" : "cjson");
  lua_setfield(L, -2, "_NAME");
  lua_pushliteral(L, "2.1.0");
  lua_setfield(L, -2, "_VERSION");
}

/* Global `cjson`, with the other one in its field `safe`: the prelude takes both from there. */
int luaopen_cjson(lua_State *L) {
  make(L, 0);
  make(L, 1);
  lua_setfield(L, -2, "safe");
  lua_pushvalue(L, -1);
  lua_setglobal(L, "cjson");
  return 1;
}
