// SPDX-License-Identifier: GPL-2.0
// The control API: requests in, answers out. Knows nothing of sockets.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "control/controller.h"
#include "control/event_log.h"
#include "expiry/sweeper.h"

namespace holdfast
{

struct ApiRequest {
	std::string method; // "GET"
	std::string path;   // "/v1/members/web/rs1", decoded
	std::map<std::string, std::string> query;
	std::string body;
	std::string host; // as the client names this host
	// Of the read-only listener: the connection did not leave this host; a page of another site has sent it.
	bool local = false, foreign = false;
};

struct ApiResponse {
	unsigned status = 200;
	std::string body;
	std::string type = "application/json";
};

// An answer, or the work that makes it: long walks through tables, to be run on another thread.
struct ApiAnswer {
	ApiAnswer() = default;
	ApiAnswer(ApiResponse at_once) : response(std::move(at_once)) {} // implicit: most answers are there at once

	ApiResponse response;
	std::function<ApiResponse()> work;
	// Or lines that come by and by, behind the body, until the client goes.
	std::shared_ptr<EventLog::Follower> follower;
};

class Api
{
public:
	Api(Controller &controller, const Sweeper &sweeper, const HealthChecker &checker, EventLog &events)
		: controller_(controller), sweeper_(sweeper), checker_(checker), events_(events)
	{
	}

	// Call on the controller's thread.
	ApiAnswer handle(const ApiRequest &request, bool read_only = false);

private:
	Result<void> check_open(const ApiRequest &request) const;
	ApiAnswer get_open(const ApiRequest &request);
	ApiAnswer get(const ApiRequest &request);
	ApiAnswer get_events(const ApiRequest &request);
	ApiAnswer put_config(const ApiRequest &request);
	ApiAnswer reload(const ApiRequest &request);
	ApiAnswer patch_member(const ApiRequest &request);
	ApiAnswer delete_sessions(const ApiRequest &request);

	Controller &controller_;
	const Sweeper &sweeper_;
	const HealthChecker &checker_;
	EventLog &events_;
	// That the read-only listener's clients have under way.
	std::shared_ptr<std::atomic<int>> open_walks_ = std::make_shared<std::atomic<int>>(0);
};

// "a=1&b=x%20y" -> {a: "1", b: "x y"}; path segments are decoded alike.
std::map<std::string, std::string> parse_query(const std::string &query);
std::string percent_decode(const std::string &text);

} // namespace holdfast
