# Files that a program carries, as a C++ header: `page_NAME` for each, a string literal
# with the file's bytes. Run as a script: cmake -DOUTPUT=... -DINPUTS=a;b -P EmbedFiles.cmake
set(text "// Made from the files beside the source that includes this.\n#pragma once\n\n")
foreach(input ${INPUTS})
  get_filename_component(name ${input} NAME)
  string(MAKE_C_IDENTIFIER ${name} identifier)
  file(READ ${input} bytes HEX)
  string(REGEX REPLACE "(..)" "\\\\x\\1" bytes "${bytes}")
  string(APPEND text "constexpr char page_${identifier}[] = \"${bytes}\";\n")
endforeach()
file(WRITE ${OUTPUT} "${text}")
