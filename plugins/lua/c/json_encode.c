/* `cjson.encode`: written to the documented behaviour of lua-cjson 2.1 with OpenResty's additions. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "lauxlib.h"

void json_buffer(JsonBuffer *out, lua_State *L, size_t room) {
  out->L = L;
  out->at = (char *)lua_newuserdata(L, room);
  out->slot = lua_gettop(L);
  out->len = 0;
  out->room = room;
}

void json_put(JsonBuffer *out, const char *bytes, size_t len) {
  if (len > out->room - out->len) {
    size_t room = out->room * 2;
    char *grown;
    while (len > room - out->len) room *= 2;
    grown = (char *)lua_newuserdata(out->L, room);
    memcpy(grown, out->at, out->len);
    lua_replace(out->L, out->slot);
    out->at = grown;
    out->room = room;
  }
  memcpy(out->at + out->len, bytes, len);
  out->len += len;
}

static void put_char(JsonBuffer *out, char byte) {
  json_put(out, &byte, 1);
}

static void put_escape(JsonBuffer *out, unsigned char byte) {
  static const char SHORT[] = "\"\"\\\\//b\bt\tn\nf\fr\r";
  char text[8];
  size_t i;
  for (i = 1; i < sizeof(SHORT); i += 2) {
    if ((unsigned char)SHORT[i] != byte) continue;
    text[0] = '\\';
    text[1] = SHORT[i - 1];
    json_put(out, text, 2);
    return;
  }
  snprintf(text, sizeof(text), "\\u%04x", byte);
  json_put(out, text, 6);
}

static void put_text(JsonBuffer *out, const JsonConfig *config, int index) {
  size_t len, start = 0, i;
  const char *text = lua_tolstring(out->L, index, &len);
  put_char(out, '"');
  for (i = 0; i < len; i++) {
    unsigned char byte = (unsigned char)text[i];
    if (byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7f && !(byte == '/' && config->escape_slash)) continue;
    json_put(out, text + start, i - start);
    put_escape(out, byte);
    start = i + 1;
  }
  json_put(out, text + start, len - start);
  put_char(out, '"');
}

static void refuse(JsonBuffer *out, int index, const char *why) {
  luaL_error(out->L, "Cannot serialise %s: %s", luaL_typename(out->L, index), why);
}

static void put_number(JsonBuffer *out, const JsonConfig *config, int index) {
  double number = lua_tonumber(out->L, index);
  char text[32];
  int len;
  if (isnan(number) || isinf(number)) {
    if (config->encode_invalid == 0) refuse(out, index, "must not be NaN or Inf");
    if (config->encode_invalid == 2) {
      json_put(out, "null", 4);
      return;
    }
    /* Not as every C library would: it may write "-nan". */
    if (isnan(number)) json_put(out, "nan", 3);
    else json_put(out, number > 0 ? "inf" : "-inf", number > 0 ? 3 : 4);
    return;
  }
  len = snprintf(text, sizeof(text), "%.*g", config->precision, number);
  json_put(out, text, (size_t)len);
}

/* The length of the table as an array, or -1: it is an object. */
static int array_length(JsonBuffer *out, const JsonConfig *config, int index) {
  lua_State *L = out->L;
  double max = 0;
  int items = 0;
  lua_pushnil(L);
  while (lua_next(L, index) != 0) {
    double key = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
    if (!(key >= 1 && key <= 2147483647 && floor(key) == key)) {
      lua_pop(L, 2);
      return -1;
    }
    if (key > max) max = key;
    items++;
    lua_pop(L, 1);
  }
  if (config->sparse_ratio > 0 && max > (double)items * config->sparse_ratio && max > config->sparse_safe) {
    if (!config->sparse_convert) refuse(out, index, "excessively sparse array");
    return -1;
  }
  return (int)max;
}

static int put_value(JsonBuffer *out, const JsonConfig *config, int depth);

static void put_array(JsonBuffer *out, const JsonConfig *config, int index, int length, int depth) {
  int i, written = 0;
  put_char(out, '[');
  for (i = 1; i <= length; i++) {
    size_t before = out->len;
    if (written) put_char(out, ',');
    lua_rawgeti(out->L, index, i);
    if (put_value(out, config, depth)) written = 1;
    else out->len = before;
    lua_pop(out->L, 1);
  }
  put_char(out, ']');
}

static void put_object(JsonBuffer *out, const JsonConfig *config, int index, int depth) {
  lua_State *L = out->L;
  int written = 0;
  put_char(out, '{');
  lua_pushnil(L);
  while (lua_next(L, index) != 0) {
    size_t before = out->len;
    int key = lua_gettop(L) - 1;
    if (written) put_char(out, ',');
    switch (lua_type(L, key)) {
      case LUA_TNUMBER:
        put_char(out, '"');
        put_number(out, config, key);
        put_char(out, '"');
        break;
      case LUA_TSTRING:
        put_text(out, config, key);
        break;
      default:
        refuse(out, key, "table key must be a number or string");
    }
    put_char(out, ':');
    if (put_value(out, config, depth)) written = 1;
    else out->len = before;
    lua_pop(L, 1);
  }
  put_char(out, '}');
}

/* Whether the table's metatable is the one kept under this key. */
static int is_marked(lua_State *L, int index, const char *key) {
  int same;
  if (!lua_getmetatable(L, index)) return 0;
  lua_pushlightuserdata(L, (void *)key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same;
}

static void put_table(JsonBuffer *out, const JsonConfig *config, int depth) {
  lua_State *L = out->L;
  int index = lua_gettop(L), length;
  if (depth > config->encode_depth || !lua_checkstack(L, 6)) luaL_error(L, "Cannot serialise, excessive nesting (%d)", depth);
  if (is_marked(L, index, &JSON_ARRAY_MT)) {
    put_array(out, config, index, (int)lua_objlen(L, index), depth);
    return;
  }
  length = array_length(out, config, index);
  if (length > 0 || (length == 0 && (!config->empty_as_object || is_marked(L, index, &JSON_EMPTY_ARRAY_MT)))) {
    put_array(out, config, index, length, depth);
  } else {
    put_object(out, config, index, depth);
  }
}

/* Writes the value at the top. 0: it has no JSON and is to be left out. */
static int put_value(JsonBuffer *out, const JsonConfig *config, int depth) {
  lua_State *L = out->L;
  int index = lua_gettop(L);
  switch (lua_type(L, index)) {
    case LUA_TSTRING:
      put_text(out, config, index);
      return 1;
    case LUA_TNUMBER:
      put_number(out, config, index);
      return 1;
    case LUA_TBOOLEAN:
      if (lua_toboolean(L, index)) json_put(out, "true", 4);
      else json_put(out, "false", 5);
      return 1;
    case LUA_TTABLE:
      put_table(out, config, depth + 1);
      return 1;
    case LUA_TNIL:
      json_put(out, "null", 4);
      return 1;
    case LUA_TLIGHTUSERDATA:
      if (lua_touserdata(L, index) == NULL) {
        json_put(out, "null", 4);
        return 1;
      }
      if (lua_touserdata(L, index) == (const void *)&JSON_EMPTY_ARRAY) {
        json_put(out, "[]", 2);
        return 1;
      }
      break;
    default:
      break;
  }
  if (!config->skip_unsupported) refuse(out, index, "type not supported");
  return 0;
}

void json_encode(lua_State *L, const JsonConfig *config) {
  JsonBuffer out;
  json_buffer(&out, L, 256);
  lua_pushvalue(L, -2);
  put_value(&out, config, 0);
  lua_pop(L, 1);
  lua_pushlstring(L, out.at, out.len);
}
